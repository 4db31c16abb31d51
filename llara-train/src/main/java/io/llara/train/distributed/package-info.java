/**
 * Who computes: the lanes of a process, and several processes as one: who they are, sums over all
 * of them, gradients summed while the backward pass still runs, and a launcher for one machine.
 */
@NullMarked
package io.llara.train.distributed;

import org.jspecify.annotations.NullMarked;
