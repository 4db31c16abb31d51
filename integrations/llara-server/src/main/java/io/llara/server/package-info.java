/** Embeddings and search over HTTP. */
@NullMarked
package io.llara.server;

import org.jspecify.annotations.NullMarked;
