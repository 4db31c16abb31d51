package io.llara.benchmarks.teachers;

import java.util.Arrays;
import java.util.stream.Collectors;

/** The models, as LangChain4j's jars have them, each with the prompts it was trained with. */
enum JarModel {
  BGE_SMALL(
      "bge-small-en-v1.5", true, "Represent this sentence for searching relevant passages: ", ""),
  E5_SMALL("e5-small-v2", false, "query: ", "passage: "),
  MINILM("all-minilm-l6-v2", false, "", "");

  /** The length of the vectors of all of them. */
  static final int DIMENSION = 384;

  private final String resource;

  /** Whether the vector is the first token's state; otherwise it is the mean over all tokens. */
  private final boolean firstToken;

  private final String queryPrompt;
  private final String passagePrompt;

  JarModel(String resource, boolean firstToken, String queryPrompt, String passagePrompt) {
    this.resource = resource;
    this.firstToken = firstToken;
    this.queryPrompt = queryPrompt;
    this.passagePrompt = passagePrompt;
  }

  static JarModel named(String name) {
    return Arrays.stream(values())
        .filter(model -> model.resource.equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "the model is %s; expected one of %s"
                        .formatted(
                            name,
                            Arrays.stream(values())
                                .map(model -> model.resource)
                                .collect(Collectors.joining(", ")))));
  }

  String resource() {
    return resource;
  }

  boolean firstToken() {
    return firstToken;
  }

  String queryPrompt() {
    return queryPrompt;
  }

  String passagePrompt() {
    return passagePrompt;
  }
}
