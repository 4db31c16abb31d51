/** The face of the library: {@code Encoder}, {@code Mode} and the values they take and give. */
@NullMarked
package io.llara;

import org.jspecify.annotations.NullMarked;
