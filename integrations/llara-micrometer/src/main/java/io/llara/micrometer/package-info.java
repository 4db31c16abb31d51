/** Meters of Micrometer for what an encoder does. */
@NullMarked
package io.llara.micrometer;

import org.jspecify.annotations.NullMarked;
