/** Spring Boot's auto-configuration of an {@link io.llara.Encoder} and its embedding model. */
@NullMarked
package io.llara.spring.autoconfigure;

import org.jspecify.annotations.NullMarked;
