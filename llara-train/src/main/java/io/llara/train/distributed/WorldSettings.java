package io.llara.train.distributed;

import com.google.common.base.Strings;
import io.llara.LlaraException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * The place of this process in a group of processes that train together, as {@code torchrun} tells
 * it: through {@code RANK}, {@code WORLD_SIZE}, {@code LOCAL_RANK}, {@code MASTER_ADDR} and {@code
 * MASTER_PORT}.
 *
 * @param rank number of this process in the group, from 0
 * @param worldSize how many processes there are
 * @param localRank number of this process among those of its machine, from 0
 * @param masterAddress host on which the processes meet: that of rank 0
 * @param masterPort TCP port there
 * @param agentAttempt present if the program that started the processes holds the meeting place
 *     open itself ({@code TORCHELASTIC_USE_AGENT_STORE}): how often it has started them again
 *     before; absent if rank 0 does
 * @param launcher process id of the {@link ProcessLauncher} that started this process; when that
 *     has ended, so must this
 */
public record WorldSettings(
    int rank,
    int worldSize,
    int localRank,
    String masterAddress,
    int masterPort,
    OptionalInt agentAttempt,
    OptionalLong launcher) {

  static final String RANK = "RANK";
  static final String WORLD_SIZE = "WORLD_SIZE";
  static final String LOCAL_RANK = "LOCAL_RANK";
  static final String LOCAL_WORLD_SIZE = "LOCAL_WORLD_SIZE";
  static final String MASTER_ADDR = "MASTER_ADDR";
  static final String MASTER_PORT = "MASTER_PORT";
  static final String LAUNCHER = "LLARA_LAUNCHER";
  static final String USE_AGENT_STORE = "TORCHELASTIC_USE_AGENT_STORE";
  static final String RESTART_COUNT = "TORCHELASTIC_RESTART_COUNT";

  private static final List<String> NAMES =
      List.of(RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT);
  private static final int MAX_PORT = 0xFFFF;

  /** Creates settings; every number is checked. */
  public WorldSettings {
    List<String> problems =
        problems(rank, worldSize, localRank, masterAddress, masterPort, agentAttempt);
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", problems));
    }
  }

  /** Creates settings for processes that meet at rank 0 and depend on no launcher. */
  public WorldSettings(
      int rank, int worldSize, int localRank, String masterAddress, int masterPort) {
    this(
        rank,
        worldSize,
        localRank,
        masterAddress,
        masterPort,
        OptionalInt.empty(),
        OptionalLong.empty());
  }

  /**
   * Reads the settings from environment variables, usually {@code System.getenv()}. Blank ones
   * count as absent.
   *
   * @return the settings; empty if none of the five variables is there: the process is alone
   * @throws LlaraException if some are missing or make no sense; the message names each
   */
  public static Optional<WorldSettings> from(Map<String, String> environment) {
    Reader reader = new Reader(environment);
    if (NAMES.stream().noneMatch(reader::has)) {
      return Optional.empty();
    }
    List<String> missing = NAMES.stream().filter(name -> !reader.has(name)).toList();
    if (!missing.isEmpty()) {
      reader.problems.add("missing: " + String.join(", ", missing));
    }
    int rank = reader.number(RANK, 0);
    int worldSize = reader.number(WORLD_SIZE, 1);
    int localRank = reader.number(LOCAL_RANK, 0);
    String address = reader.value(MASTER_ADDR);
    int port = reader.number(MASTER_PORT, 1);
    OptionalInt attempt =
        Boolean.parseBoolean(reader.value(USE_AGENT_STORE))
            ? OptionalInt.of(reader.number(RESTART_COUNT, 0))
            : OptionalInt.empty();
    OptionalLong launcher =
        reader.has(LAUNCHER) ? OptionalLong.of(reader.number(LAUNCHER, 0)) : OptionalLong.empty();
    if (reader.problems.isEmpty()) {
      reader.problems.addAll(problems(rank, worldSize, localRank, address, port, attempt));
    }
    if (!reader.problems.isEmpty()) {
      throw new LlaraException(
          "environment variables of a group of processes: " + String.join("; ", reader.problems));
    }
    return Optional.of(
        new WorldSettings(rank, worldSize, localRank, address, port, attempt, launcher));
  }

  private static List<String> problems(
      int rank,
      int worldSize,
      int localRank,
      String masterAddress,
      int masterPort,
      OptionalInt agentAttempt) {
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
    return problems;
  }

  /** Values by name, and what is wrong with them. */
  private static final class Reader {
    private final Map<String, String> environment;
    final List<String> problems = new ArrayList<>();

    Reader(Map<String, String> environment) {
      this.environment = environment;
    }

    boolean has(String name) {
      return !value(name).isEmpty();
    }

    String value(String name) {
      return Strings.nullToEmpty(environment.get(name)).strip();
    }

    int number(String name, int absent) {
      String value = value(name);
      if (value.isEmpty()) {
        return absent;
      }
      try {
        return Integer.parseInt(value);
      } catch (NumberFormatException e) {
        problems.add(name + " is '" + value + "', expected a whole number");
        return absent;
      }
    }
  }
}
