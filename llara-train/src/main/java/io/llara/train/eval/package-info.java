/** Retrieval evaluation: judgements, rankings, measures, significance, BEIR collections. */
@NullMarked
package io.llara.train.eval;

import org.jspecify.annotations.NullMarked;
