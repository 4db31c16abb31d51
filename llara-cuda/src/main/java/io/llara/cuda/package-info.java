/** The kernels of models on NVIDIA GPUs, which core finds with {@link java.util.ServiceLoader}. */
@Internal
@NullMarked
package io.llara.cuda;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
