/** Retrieval evaluation: judgements, rankings, measures, significance, BEIR collections. */
@NullMarked
package io.llara.retrieval.eval;

import org.jspecify.annotations.NullMarked;
