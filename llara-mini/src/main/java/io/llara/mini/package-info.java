/** A small model for retrieval, in a jar. */
@NullMarked
package io.llara.mini;

import org.jspecify.annotations.NullMarked;
