import { AutoConfig, pipeline } from "@huggingface/transformers";

const config = await AutoConfig.from_pretrained("USER/REPO"); // its own type is unknown there, and works like this one
Object.assign(config, { model_type: "mobilenet_v2" });
const segment = await pipeline("image-segmentation", "USER/REPO", { dtype: "fp32", config });
for (const { label, mask } of await segment("picture.jpg")) { // a picture of 4:3
  console.log(label, mask.data.filter((value) => value).length / mask.data.length); // its share of the picture
}
