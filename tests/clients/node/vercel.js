// The Vercel AI SDK: a tool loop and typed outputs, whole and streamed, printed as JSON.
// argv: the provider ("openai" or "openai-compatible") and the tool choice of the loop's first step.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [provider, toolChoice] = process.argv.slice(2);
const baseURL = process.env.OPENAI_BASE_URL;
const apiKey = process.env.OPENAI_API_KEY;
const model =
  provider === "openai"
    ? createOpenAI({ baseURL, apiKey }).chat(process.env.MODEL)
    : createOpenAICompatible({
        name: "chatwright",
        baseURL,
        apiKey,
        includeUsage: true,
        supportsStructuredOutputs: true,
      }).chatModel(process.env.MODEL);

const asked = {
  model,
  system: "Be brief.",
  prompt: "What is the weather in Paris?",
  temperature: 0,
  maxOutputTokens: 400,
  maxRetries: 0,
};
const schema = z.object({ city: z.enum(["Paris", "Rome"]), country: z.enum(["France", "Italy"]) });

const looping = () => {
  const calls = [];
  const tools = {
    get_weather: tool({
      description: "Look up the weather of a city.",
      inputSchema: z.object({ city: z.enum(["Paris", "Rome"]), days: z.number().int() }),
      execute: async (input) => {
        calls.push(["get_weather", input]);
        return { sky: "sunny" };
      },
    }),
  };
  const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? toolChoice : "none" });
  return { calls, request: { ...asked, tools, prepareStep, stopWhen: stepCountIs(2) } };
};

const loop = async () => {
  const { calls, request } = looping();
  const result = await generateText(request);
  return { calls, text: result.text, finish: result.finishReason, tokens: result.usage.outputTokens };
};

const fail = ({ error }) => {
  throw error;
};

const loopStreamed = async () => {
  const { calls, request } = looping();
  const result = streamText({ ...request, onError: fail });
  let text = "";
  for await (const part of result.textStream) text += part;
  return { calls, text, finish: await result.finishReason, tokens: (await result.usage).outputTokens };
};

const last = async (partials) => {
  let object;
  for await (const partial of partials) object = partial;
  return object;
};

const said = {
  loop: await loop(),
  loop_streamed: await loopStreamed(),
  schema: (await generateText({ ...asked, output: Output.object({ schema }) })).output,
  schema_streamed: await last(
    streamText({ ...asked, output: Output.object({ schema }), onError: fail }).partialOutputStream,
  ),
  object: (await generateObject({ ...asked, schema })).object,
  object_streamed: await last(streamObject({ ...asked, schema, onError: fail }).partialObjectStream),
};
console.log(JSON.stringify(said));
