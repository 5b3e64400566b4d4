import { pipeline } from "@huggingface/transformers";

const classify = await pipeline("text-classification", "USER/REPO", { dtype: "fp32" });
console.log(await classify("A wonderful film.", { top_k: null })); // it reads only the beginning of a long text
