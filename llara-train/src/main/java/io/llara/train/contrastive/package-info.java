/**
 * Contrastive fine-tuning: queries against passages that answer them and passages that do not
 * (InfoNCE, arXiv 1807.03748).
 */
@NullMarked
package io.llara.train.contrastive;

import org.jspecify.annotations.NullMarked;
