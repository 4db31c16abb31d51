/**
 * Embeddings on an Apache Spark cluster: {@link io.llara.spark.TextEmbedder} makes a column of
 * vectors of a column of texts, {@link io.llara.spark.EmbeddingJob} writes it to Parquet so that a
 * job that was interrupted goes on, {@link io.llara.spark.DistributedSearch} searches it.
 */
@NullMarked
package io.llara.spark;

import org.jspecify.annotations.NullMarked;
