/**
 * Native memory and native threads: the only place that knows how native memory is born and dies.
 * It knows no file formats, only ranges of bytes.
 */
@NullMarked
@Internal
package io.llara.tensor;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
