// What each task needs: the module of its predictor, and the module of its page.

export const TASKS = {
  "image-classification": { predictor: "./image_classification.js", page: "./picture_page.js" },
  "image-segmentation": { predictor: "./image_segmentation.js", page: "./picture_page.js" },
  "text-classification": { predictor: "./text_classification.js", page: "./text_page.js" },
  "tabular-classification": { predictor: "./tabular.js", page: "./table_page.js" },
  "tabular-regression": { predictor: "./tabular.js", page: "./table_page.js" },
  recommendation: { predictor: "./recommendation.js", page: "./rating_page.js" },
};
