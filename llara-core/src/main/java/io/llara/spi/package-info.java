/**
 * The two seams of the forward pass: {@link io.llara.spi.Kernels} and {@link
 * io.llara.spi.Projection}.
 */
@NullMarked
@Internal
package io.llara.spi;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
