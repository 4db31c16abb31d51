/**
 * The two seams of the forward pass: {@link io.llara.kernels.Kernels} and {@link
 * io.llara.kernels.Projection}.
 */
@NullMarked
@Internal
package io.llara.kernels;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
