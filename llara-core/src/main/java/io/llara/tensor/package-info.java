/**
 * Native memory, native threads and the number types between them: the only place that knows how
 * native memory is born and dies.
 */
@NullMarked
@Internal
package io.llara.tensor;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
