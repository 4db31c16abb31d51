/** Collections of texts, their vectors, and the searches over them. */
@NullMarked
package io.llara.retrieval;

import org.jspecify.annotations.NullMarked;
