package io.llara.examples.golden;

/** One case of a golden folder: what the reference was given, and what came out of it. */
public interface GoldenCase {

  /** Returns the case's name, unique in its file. */
  String name();

  /** Returns the name of the file that it stands in. */
  String file();

  /**
   * Puts the case through this library and compares.
   *
   * @throws io.llara.LlaraException if the folder does not hold what the schema asks for, or its
   *     checkpoint cannot be loaded
   */
  CaseReport replay(ReplayEngines engines);
}
