/**
 * Embedding models that LangChain4j ships in jars, as teachers; compiled with the Maven profile
 * {@code teachers} only.
 */
@NullMarked
package io.llara.benchmarks.teachers;

import org.jspecify.annotations.NullMarked;
