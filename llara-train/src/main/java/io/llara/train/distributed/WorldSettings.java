package io.llara.train.distributed;

import com.google.common.base.Strings;
import io.llara.LlaraException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * The place of this process in a group of processes that train together, as {@code torchrun} sets
 * it: through {@code RANK}, {@code WORLD_SIZE}, {@code LOCAL_RANK}, {@code MASTER_ADDR} and {@code
 * MASTER_PORT}.
 *
 * @param rank number of this process in the group, from 0
 * @param worldSize how many processes there are
 * @param localRank number of this process among those of its machine, from 0
 * @param masterAddress host of rank 0, where the processes find each other
 * @param masterPort TCP port there
 * @param agentAttempt present if the program that started the processes holds the store open itself
 *     ({@code TORCHELASTIC_USE_AGENT_STORE}): how often it has started them again before; absent if
 *     rank 0 does
 * @param launcher the {@link ProcessLauncher} that started this process, if one did
 */
public record WorldSettings(
    int rank,
    int worldSize,
    int localRank,
    String masterAddress,
    int masterPort,
    OptionalInt agentAttempt,
    Optional<Launcher> launcher) {

  /**
   * Who started the processes of a group on this machine.
   *
   * @param process its process id; when that has ended, so must the others
   * @param store the file that the processes find each other through, so that nothing listens for
   *     them; without one they meet at the master's port
   */
  public record Launcher(long process, Optional<Path> store) {}

  static final String RANK = "RANK";
  static final String WORLD_SIZE = "WORLD_SIZE";
  static final String LOCAL_RANK = "LOCAL_RANK";
  static final String LOCAL_WORLD_SIZE = "LOCAL_WORLD_SIZE";
  static final String MASTER_ADDR = "MASTER_ADDR";
  static final String MASTER_PORT = "MASTER_PORT";
  static final String LAUNCHER = "LLARA_LAUNCHER";
  static final String STORE = "LLARA_STORE";
  static final String USE_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE";
  static final String RESTART_COUNT = "TORCHELASTIC_RESTART_COUNT";

  private static final List<String> NAMES =
      List.of(RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT);
  private static final int MAX_PORT = 0xFFFF;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if some are out of range; the message names each
   */
  public WorldSettings {
    List<String> problems = new ArrayList<>();
    if (worldSize < 1) {
      problems.add(WORLD_SIZE + " is " + worldSize + ", expected at least 1");
    }
    if (rank < 0 || rank >= worldSize) {
      problems.add(RANK + " is " + rank + ", expected 0 to " + WORLD_SIZE + " - 1");
    }
    if (localRank < 0 || localRank >= worldSize) {
      problems.add(LOCAL_RANK + " is " + localRank + ", expected 0 to " + WORLD_SIZE + " - 1");
    }
    if (masterAddress.isBlank()) {
      problems.add(MASTER_ADDR + " is blank, expected a host");
    }
    if (masterPort < 1 || masterPort > MAX_PORT) {
      problems.add(MASTER_PORT + " is " + masterPort + ", expected 1 to " + MAX_PORT);
    }
    if (agentAttempt.orElse(0) < 0) {
      problems.add(RESTART_COUNT + " is " + agentAttempt.getAsInt() + ", expected at least 0");
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", problems));
    }
  }

  /** Creates settings for processes whose store rank 0 holds, and that depend on no launcher. */
  public WorldSettings(
      int rank, int worldSize, int localRank, String masterAddress, int masterPort) {
    this(
        rank,
        worldSize,
        localRank,
        masterAddress,
        masterPort,
        OptionalInt.empty(),
        Optional.empty());
  }

  /**
   * Reads the settings from environment variables, usually {@code System.getenv()}. Blank ones
   * count as absent.
   *
   * @return the settings; empty if none of the five variables is there: the process is alone
   * @throws LlaraException if some are missing or make no sense; the message names each
   */
  public static Optional<WorldSettings> from(Map<String, String> environment) {
    Variables variables = new Variables(environment);
    if (NAMES.stream().allMatch(name -> variables.value(name).isEmpty())) {
      return Optional.empty();
    }
    try {
      return Optional.of(variables.settings());
    } catch (IllegalArgumentException e) {
      throw new LlaraException(
          "environment variables of a group of processes: " + e.getMessage(), e);
    }
  }

  /** Environment variables, and what is wrong with those that were read. */
  private static final class Variables {
    private final Map<String, String> environment;
    private final List<String> problems = new ArrayList<>();

    Variables(Map<String, String> environment) {
      this.environment = environment;
    }

    WorldSettings settings() {
      List<String> missing = NAMES.stream().filter(name -> value(name).isEmpty()).toList();
      if (!missing.isEmpty()) {
        problems.add("missing: " + String.join(", ", missing));
      }
      int rank = number(RANK);
      int worldSize = number(WORLD_SIZE);
      int localRank = number(LOCAL_RANK);
      int port = number(MASTER_PORT);
      OptionalInt attempt =
          Boolean.parseBoolean(value(USE_AGENT_STORE))
              ? OptionalInt.of(number(RESTART_COUNT))
              : OptionalInt.empty();
      Optional<Launcher> launcher =
          value(LAUNCHER).isEmpty()
              ? Optional.empty()
              : Optional.of(
                  new Launcher(
                      number(LAUNCHER),
                      Optional.of(value(STORE)).filter(path -> !path.isEmpty()).map(Path::of)));
      if (!problems.isEmpty()) {
        throw new IllegalArgumentException(String.join("; ", problems));
      }
      return new WorldSettings(
          rank, worldSize, localRank, value(MASTER_ADDR), port, attempt, launcher);
    }

    String value(String name) {
      return Strings.nullToEmpty(environment.get(name)).strip();
    }

    /** Returns a whole number, or 0 if the variable is absent or is not one. */
    private int number(String name) {
      String value = value(name);
      if (value.isEmpty()) {
        return 0;
      }
      try {
        return Integer.parseInt(value);
      } catch (NumberFormatException e) {
        problems.add(name + " is '" + value + "', expected a whole number");
        return 0;
      }
    }
  }
}
