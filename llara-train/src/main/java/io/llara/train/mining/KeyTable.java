package io.llara.train.mining;

import java.util.Arrays;

/**
 * Numbers keys in the order of their coming: 0, 1, 2 and so on. An open hash table over plain
 * arrays, some 32 bytes a key, as a collection may have many millions.
 */
final class KeyTable {
  private static final int ABSENT = -1;

  private long[] highs = new long[64];
  private long[] lows = new long[64];
  private int[] slots = emptySlots(128);
  private int size;

  private static int[] emptySlots(int length) {
    int[] slots = new int[length];
    Arrays.fill(slots, ABSENT);
    return slots;
  }

  int size() {
    return size;
  }

  /** Returns the number of a key; a new one gets the next. */
  int add(TextKey key) {
    int slot = slot(key.high(), key.low());
    if (slots[slot] != ABSENT) {
      return slots[slot];
    }
    if (size == highs.length) {
      grow();
      slot = slot(key.high(), key.low());
    }
    highs[size] = key.high();
    lows[size] = key.low();
    slots[slot] = size;
    return size++;
  }

  /** Returns the number of a key, or -1 if it has none. */
  int find(TextKey key) {
    return slots[slot(key.high(), key.low())];
  }

  /** Returns where a key is, or the free slot where it would be. */
  private int slot(long high, long low) {
    int mask = slots.length - 1;
    int slot = (int) high & mask;
    while (slots[slot] != ABSENT && (highs[slots[slot]] != high || lows[slots[slot]] != low)) {
      slot = slot + 1 & mask;
    }
    return slot;
  }

  private void grow() {
    int capacity = Math.multiplyExact(highs.length, 2);
    highs = Arrays.copyOf(highs, capacity);
    lows = Arrays.copyOf(lows, capacity);
    slots = emptySlots(Math.multiplyExact(capacity, 2));
    for (int number = 0; number < size; number++) {
      slots[slot(highs[number], lows[number])] = number;
    }
  }
}
