import { pipeline } from "@huggingface/transformers";

const classify = await pipeline("image-classification", "USER/REPO", { dtype: "fp32" });
console.log(await classify("picture.jpg", { top_k: null })); // it does not say if a picture is out of distribution
