/** Files: strict JSON, replacement in one step, and the words for what went wrong. */
@NullMarked
@Internal
package io.llara.io;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
