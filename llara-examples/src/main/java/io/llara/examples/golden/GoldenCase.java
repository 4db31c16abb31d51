package io.llara.examples.golden;

import java.util.Optional;

/**
 * One case of a golden folder: what the reference was given, and what came out of it.
 *
 * @param file the name of the file that it is in
 * @param name its name, unique in its file
 * @param replay puts it through this library; empty for a kind that this version does not know
 */
public record GoldenCase(String file, String name, Optional<Replay> replay) {
  /** A replay of a case. */
  public interface Replay {
    /**
     * Puts the case through this library and compares.
     *
     * @throws io.llara.LlaraException if the folder does not hold what the schema asks for, or its
     *     checkpoint cannot be loaded
     */
    Comparison run(ReplayEngines engines);
  }
}
