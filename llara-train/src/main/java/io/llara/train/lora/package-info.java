/** Low-rank adaptation (LoRA, arXiv 2106.09685) of linear layers. */
@NullMarked
package io.llara.train.lora;

import org.jspecify.annotations.NullMarked;
