package io.llara.examples.scala

import io.llara.{Encoder, Mode, Similarity}
import java.nio.file.Path
import scala.jdk.CollectionConverters.*
import scala.util.Using

/** Argument: a model directory; without one the default model is used. */
object QuickStart:
  def main(args: Array[String]): Unit =
    val passages = Seq(
      "The llama is a domesticated South American camelid.",
      "A lighthouse warns ships of rocks and shallows."
    )
    def open = args.headOption.fold(Encoder.loadDefault())(dir => Encoder.load(Path.of(dir)))
    Using.resource(open) { encoder =>
      val query = encoder.encodeQuery("What is a llama?")
      val embeddings = encoder.encodeAll(passages.asJava, Mode.SELF).asScala
      for (passage, embedding) <- passages.zip(embeddings) do
        println(f"${Similarity.cosine(query, embedding)}%.4f  $passage")
    }
