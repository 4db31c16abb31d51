package io.llara.spark;

import io.llara.Internal;
import org.jspecify.annotations.Nullable;

/** A vector with its id: a bean, whose floats Spark hands over without a box for each. */
@Internal
public final class IndexedVector {
  private long number;
  private @Nullable String name;
  private float[] vector = {};

  /** Creates one that is to be filled. */
  public IndexedVector() {}

  public long getNumber() {
    return number;
  }

  public void setNumber(long number) {
    this.number = number;
  }

  public @Nullable String getName() {
    return name;
  }

  public void setName(@Nullable String name) {
    this.name = name;
  }

  public float[] getVector() {
    return vector;
  }

  public void setVector(float[] vector) {
    this.vector = vector;
  }
}
