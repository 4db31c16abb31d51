/** Making model directories: from nothing, with the markers added, and from trained weights. */
@NullMarked
package io.llara.train.checkpoint;

import org.jspecify.annotations.NullMarked;
