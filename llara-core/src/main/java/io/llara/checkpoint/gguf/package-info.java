/** The import of GGUF files: a Hugging Face directory is made of each. */
@NullMarked
package io.llara.checkpoint.gguf;

import org.jspecify.annotations.NullMarked;
