/** LangChain4j's embedding model and token count estimator over an {@link io.llara.Encoder}. */
@NullMarked
package io.llara.langchain4j;

import org.jspecify.annotations.NullMarked;
