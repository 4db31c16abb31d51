/** Search by brute force: BEIR-format collections, a cache of their vectors, the best passages. */
@NullMarked
package io.llara.examples.search;

import org.jspecify.annotations.NullMarked;
