/**
 * Hard negatives for contrastive training: passages that a search ranks high for a query and that
 * are none of its positives.
 */
@NullMarked
package io.llara.train.mining;

import org.jspecify.annotations.NullMarked;
