/**
 * LLaMA's equations, once, over the kernel and projection seams: small final classes that are given
 * their finished parts.
 */
@NullMarked
@Internal
package io.llara.model;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
