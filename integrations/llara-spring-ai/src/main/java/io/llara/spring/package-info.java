/** Spring AI's embedding model and batching strategy over an {@link io.llara.Encoder}. */
@NullMarked
package io.llara.spring;

import org.jspecify.annotations.NullMarked;
