/** Files: line and JSON reading, replacement in one step, temporary files, words for errors. */
@NullMarked
@Internal
package io.llara.io;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
