/** From a query to the passages nearest to it. */
@NullMarked
package io.llara.examples.search;

import org.jspecify.annotations.NullMarked;
