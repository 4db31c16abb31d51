/**
 * Model files: safetensors reading and writing, the Hugging Face checkpoint layout, {@code
 * llara.json}, PEFT LoRA adapters and the import of GGUF files. What leaves this package are
 * shapes, offsets and arrays; the model maps the bytes itself.
 */
@NullMarked
package io.llara.checkpoint;

import org.jspecify.annotations.NullMarked;
