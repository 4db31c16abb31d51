package io.llara.checkpoint;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.AtomicFiles;
import io.llara.prompt.Pooling;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.PromptTemplate.Text;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What tells Python how the texts of a model become vectors: the files of the sentence-transformers
 * library where these can say it, else a README with the few lines of Python that do it.
 */
public final class PythonFiles {
  private static final String README = "README.md";
  private static final String POOLING_FOLDER = "1_Pooling";
  private static final String DENSE_FOLDER = "2_Dense";
  private static final String PACKAGE = "sentence_transformers.models.";

  private PythonFiles() {}

  /**
   * Writes the files into a model's directory that has its configuration and tokenizer.
   *
   * @throws LlaraException if it cannot be written, or the recipe does not fit the tokenizer
   */
  public static void write(Path dir, LlaraJson recipe) {
    LlamaConfig config = LlamaConfig.read(dir.resolve(CheckpointDirectory.CONFIG));
    try (Tokenizer tokenizer = Tokenizer.load(dir)) {
      PromptBuilder prompts = PromptBuilder.create(recipe.template(), tokenizer);
      if (isExpressible(recipe, prompts, tokenizer)) {
        writeModules(dir, recipe, config);
      } else {
        String readme = readme(recipe, prompts, config);
        AtomicFiles.write(dir.resolve(README), readme.getBytes(StandardCharsets.UTF_8));
      }
    }
  }

  /**
   * Removes the files of the sentence-transformers library: an older model's recipe.
   *
   * @throws LlaraException if one cannot be removed
   */
  public static void remove(Path dir) {
    try {
      for (String name :
          List.of(
              SentenceTransformers.MODULES,
              SentenceTransformers.SETTINGS,
              SentenceTransformers.LENGTH)) {
        Files.deleteIfExists(dir.resolve(name));
      }
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(dir, e), e);
    }
  }

  /** The library can put text before a text, and around both what the tokenizer itself puts. */
  private static boolean isExpressible(
      LlaraJson recipe, PromptBuilder prompts, Tokenizer tokenizer) {
    return SentenceTransformers.spelled(recipe.template().pooling()).isPresent()
        && recipe.maxQueryTokens().equals(recipe.maxPassageTokens())
        && Arrays.stream(Mode.values())
            .allMatch(
                mode ->
                    Arrays.equals(prompts.prefixIds(mode), tokenizer.bosIds())
                        && Arrays.equals(prompts.suffixIds(mode), tokenizer.closingIds()));
  }

  private static void writeModules(Path dir, LlaraJson recipe, LlamaConfig config) {
    JsonArray modules = new JsonArray();
    modules.add(module(0, "", "Transformer"));
    modules.add(module(1, POOLING_FOLDER, "Pooling"));
    recipe
        .dense()
        .ifPresent(
            location -> {
              modules.add(module(2, DENSE_FOLDER, "Dense"));
              writeDense(dir, location, config);
            });
    if (recipe.normalize()) {
      int index = modules.size();
      modules.add(module(index, index + "_Normalize", "Normalize"));
    }
    JsonObject pooling = new JsonObject();
    pooling.addProperty("word_embedding_dimension", config.hiddenSize());
    SentenceTransformers.OLD_MODES.forEach(
        (key, mode) ->
            pooling.addProperty(
                key,
                SentenceTransformers.spelled(recipe.template().pooling())
                    .orElseThrow()
                    .equals(mode)));
    pooling.addProperty("include_prompt", true);
    JsonObject prompts = new JsonObject();
    prompts.addProperty("query", joined(recipe.template(), recipe.modes().query()));
    prompts.addProperty("document", joined(recipe.template(), recipe.modes().passage()));
    JsonObject settings = new JsonObject();
    settings.add("prompts", prompts);
    settings.addProperty("similarity_fn_name", recipe.normalize() ? "cosine" : "dot");
    recipe.dimension().ifPresent(size -> settings.addProperty("truncate_dim", size));
    JsonObject length = new JsonObject();
    length.addProperty("max_seq_length", maxTokens(recipe, config));
    length.addProperty("do_lower_case", false);
    createFolder(dir.resolve(POOLING_FOLDER));
    AtomicFiles.writeJson(
        dir.resolve(POOLING_FOLDER).resolve(SentenceTransformers.SETTINGS_OF_MODULE), pooling);
    AtomicFiles.writeJson(dir.resolve(SentenceTransformers.SETTINGS), settings);
    AtomicFiles.writeJson(dir.resolve(SentenceTransformers.LENGTH), length);
    AtomicFiles.writeText(
        dir.resolve(SentenceTransformers.MODULES), text -> text.write(modules + "\n"));
  }

  private static void writeDense(Path dir, DenseLayer.Location location, LlamaConfig config) {
    Path folder = dir.resolve(DENSE_FOLDER);
    Path weights = dir.resolve(location.file());
    JsonObject settings = new JsonObject();
    settings.addProperty("in_features", config.hiddenSize());
    SafetensorsFile tensors = SafetensorsFile.open(weights);
    settings.addProperty("out_features", tensors.entry(DenseLayer.WEIGHT).shape()[0]);
    settings.addProperty("bias", tensors.entries().containsKey(DenseLayer.BIAS));
    settings.addProperty(
        SentenceTransformers.ACTIVATION, SentenceTransformers.spelled(location.activation()));
    createFolder(folder);
    AtomicFiles.writeJson(folder.resolve(SentenceTransformers.SETTINGS_OF_MODULE), settings);
    Path copy = folder.resolve(WeightFiles.SINGLE_FILE);
    if (!copy.equals(weights)) {
      try {
        Files.copy(weights, copy, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new LlaraException("%s: cannot be written: %s".formatted(copy, e), e);
      }
    }
  }

  private static void createFolder(Path folder) {
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new LlaraException("%s: cannot be written: %s".formatted(folder, e), e);
    }
  }

  private static JsonObject module(int index, String path, String type) {
    JsonObject module = new JsonObject();
    module.addProperty("idx", index);
    module.addProperty("name", Integer.toString(index));
    module.addProperty("path", path);
    module.addProperty("type", PACKAGE + type);
    return module;
  }

  private static int maxTokens(LlaraJson recipe, LlamaConfig config) {
    int trained = Math.max(recipe.maxQueryTokens().orElse(0), recipe.maxPassageTokens().orElse(0));
    return Math.min(trained > 0 ? trained : 512, config.maxPositionEmbeddings());
  }

  /** The text that is tokenised together with a text of this mode; empty if there is none. */
  private static String joined(PromptTemplate template, Mode mode) {
    List<PromptTemplate.Part> prefix =
        (mode == Mode.SELF ? template.self() : template.next()).prefix();
    return template.joined()
        ? prefix.stream().map(part -> ((Text) part).text()).collect(Collectors.joining())
        : "";
  }

  private static String readme(LlaraJson recipe, PromptBuilder prompts, LlamaConfig config) {
    PromptTemplate template = recipe.template();
    int longest =
        Math.max(prompts.suffixIds(Mode.SELF).length, prompts.suffixIds(Mode.NEXT).length);
    String vector =
        template.pooling() == Pooling.MEAN_OF_TEXT
            ? "states[len(before) : len(before) + len(ids)].mean(0)"
            : "states[-pooled:].mean(0)";
    String cut = recipe.dimension().isPresent() ? "[:" + recipe.dimension().getAsInt() + "]" : "";
    return """
        # Text embeddings by a LLaMA model

        The prompts are those of the template `%s`, pooled by `%s`; `llara.json` has them for the Java library llara. These
        lines give the same vectors in Python. A text that spells a special token is not text here.

        ```python
        %simport torch
        from transformers import AutoModel, PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(".")
        model = AutoModel.from_pretrained(".", dtype=torch.float32).eval()
        PROMPTS = {
            "query": %s,
            "passage": %s,
        }

        def embed(text, kind):
            prefix, before, after, pooled = PROMPTS[kind]
            ids = tokenizer(prefix + text, add_special_tokens=False).input_ids[: %d - len(before)]
            with torch.no_grad():
                states = model(input_ids=torch.tensor([before + ids + after])).last_hidden_state[0]
            vector = %s%s%s
            return %s
        ```
        """
        .formatted(
            template.name(),
            template.pooling().name().toLowerCase(Locale.ROOT),
            recipe.dense().isPresent() ? "import safetensors.torch\n" : "",
            pythonPrompt(template, prompts, recipe.modes().query()),
            pythonPrompt(template, prompts, recipe.modes().passage()),
            maxTokens(recipe, config) - longest,
            vector,
            recipe.dense().map(PythonFiles::pythonDense).orElse(""),
            cut,
            recipe.normalize() ? "torch.nn.functional.normalize(vector, dim=0)" : "vector");
  }

  private static String pythonDense(DenseLayer.Location location) {
    String product = "torch.nn.functional.linear(vector, dense[\"linear.weight\"].float(), bias)";
    return Stream.of(
            "dense = safetensors.torch.load_file(\"%s\")".formatted(location.file()),
            "bias = dense[\"linear.bias\"].float() if \"linear.bias\" in dense else None",
            "vector = "
                + product
                + (location.activation() == DenseLayer.Activation.TANH ? ".tanh()" : ""))
        .map(line -> "\n    " + line)
        .collect(Collectors.joining());
  }

  /** The text before a text, the ids around both, and how many rows at the end are averaged. */
  private static String pythonPrompt(PromptTemplate template, PromptBuilder prompts, Mode mode) {
    Prompt prompt = prompts.fromIds(new int[] {0}, mode);
    return "(%s, %s, %s, %d)"
        .formatted(
            new JsonPrimitive(joined(template, mode)),
            Arrays.toString(prompts.prefixIds(mode)),
            Arrays.toString(prompts.suffixIds(mode)),
            template.pooling() == Pooling.MEAN_OF_PROMPT ? 0 : prompt.pooled(mode).length());
  }
}
