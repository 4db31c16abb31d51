package io.llara.retrieval.eval;

import static java.util.Objects.requireNonNull;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.io.AtomicFiles;
import io.llara.io.Messages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Several test collections, and the mean over them as MTEB has it: each counts once, but those of a
 * group are averaged first and count as one. The sub-forums of CQADupStack are such a group:
 * folders below one folder, as BEIR has them, or beside the others under names that begin with
 * {@code cqadupstack}. Immutable.
 *
 * @param members the collections, in their order
 */
public record BeirSuite(List<Member> members) {
  private static final String FORUMS = "cqadupstack";

  /**
   * A collection of a suite.
   *
   * @param name the folder's, after that of the folder above if that makes the group
   * @param group what it counts together with; its own name if it counts alone
   * @param folder where it is, for {@link BeirDataset#open}
   */
  public record Member(String name, String group, Path folder) {}

  /**
   * Copies the list.
   *
   * @throws IllegalArgumentException if there is no collection, or two have one name
   */
  public BeirSuite {
    members = List.copyOf(members);
    if (members.isEmpty()) {
      throw new IllegalArgumentException("there is no collection");
    }
    Set<String> names = new HashSet<>();
    for (Member member : members) {
      if (!names.add(member.name())) {
        throw new IllegalArgumentException("two collections are called " + member.name());
      }
    }
  }

  /**
   * Finds collections. A folder is one, or has folders that are, which then are a group.
   *
   * @throws LlaraException naming a folder that is neither, or if two collections have one name
   */
  public static BeirSuite of(List<Path> folders) {
    List<Member> members = new ArrayList<>();
    for (Path folder : folders) {
      List<Member> found = find(folder);
      if (found.isEmpty()) {
        // It says what is missing.
        CollectionFiles.requireCollection(folder);
      }
      members.addAll(found);
    }
    return suite(members);
  }

  /**
   * Finds the collections and groups in a folder, by name; passes over what is neither.
   *
   * @throws LlaraException if there are none, or the folder cannot be listed
   */
  public static BeirSuite in(Path folder) {
    List<Member> members = folders(folder).stream().flatMap(path -> find(path).stream()).toList();
    if (members.isEmpty()) {
      throw new LlaraException(
          folder + ": has no collection in it; expected folders in BEIR format");
    }
    return suite(members);
  }

  private static BeirSuite suite(List<Member> members) {
    try {
      return new BeirSuite(members);
    } catch (IllegalArgumentException e) {
      throw new LlaraException(e.getMessage() + "; rename the folder of one", e);
    }
  }

  /** Returns the collection in a folder, or those of the group in it; possibly none. */
  private static List<Member> find(Path folder) {
    String name = BeirDataset.name(folder);
    if (CollectionFiles.isCollection(folder)) {
      boolean forum = name.toLowerCase(Locale.ROOT).startsWith(FORUMS);
      return List.of(new Member(name, forum ? FORUMS : name, folder));
    }
    return Files.isDirectory(folder)
        ? folders(folder).stream()
            .filter(CollectionFiles::isCollection)
            .map(path -> new Member(name + "/" + BeirDataset.name(path), name, path))
            .toList()
        : List.of();
  }

  private static List<Path> folders(Path folder) {
    try (Stream<Path> paths = Files.list(folder)) {
      return paths.filter(Files::isDirectory).sorted().toList();
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be listed: %s".formatted(folder, Messages.reason(e)), e);
    }
  }

  /**
   * Returns the mean of a number over the suite: over the groups, of the mean in each.
   *
   * @param value gives the number of a collection
   */
  public double mean(ToDoubleFunction<Member> value) {
    return groups().values().stream()
        .mapToDouble(group -> average(group, value).orElseThrow())
        .average()
        .orElseThrow();
  }

  private static OptionalDouble average(List<Member> group, ToDoubleFunction<Member> value) {
    return group.stream().mapToDouble(value).average();
  }

  /**
   * Writes means as JSON: {@code {"collections": [{"dataset": "nfcorpus", "runs": [{"name":
   * "model", "metrics": {"ndcg@10": 0.338, …}}, …]}, …], "means": [{"name": "model", "metrics": …},
   * …]}}. A file of that name is replaced at once, or not at all.
   *
   * @param means of each collection, by the name of what searched it; the same names in each
   * @throws LlaraException if it cannot be written
   */
  public void writeJson(Path file, Map<Member, Map<String, Map<Metric, Double>>> means) {
    JsonArray each = new JsonArray();
    members.forEach(
        member -> {
          JsonObject one = new JsonObject();
          one.addProperty("dataset", member.name());
          one.add("runs", BeirEvaluator.json(requireNonNull(means.get(member))));
          each.add(one);
        });
    Map<String, Map<Metric, Double>> overall = new LinkedHashMap<>();
    requireNonNull(means.get(members.get(0)))
        .forEach(
            (name, metrics) -> {
              Map<Metric, Double> values = new LinkedHashMap<>();
              for (Metric metric : metrics.keySet()) {
                values.put(
                    metric,
                    mean(
                        member ->
                            requireNonNull(
                                requireNonNull(requireNonNull(means.get(member)).get(name))
                                    .get(metric))));
              }
              overall.put(name, values);
            });
    JsonObject report = new JsonObject();
    report.add("collections", each);
    report.add("means", BeirEvaluator.json(overall));
    AtomicFiles.writeJson(file, report);
  }

  /** Returns the collections that count as one, by the name of the group, in their order. */
  public Map<String, List<Member>> groups() {
    return members.stream()
        .collect(Collectors.groupingBy(Member::group, LinkedHashMap::new, Collectors.toList()));
  }
}
