package io.llara.examples.golden;

/** A case that stands in a file as a JSON object with a name. */
interface FileCase extends GoldenCase {

  /** Returns the file. */
  GoldenFile source();

  /** Returns the case's object in it. */
  GoldenJson json();

  @Override
  default String file() {
    return source().name();
  }

  @Override
  default String name() {
    return json().string("name");
  }
}
