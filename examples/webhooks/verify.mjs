// Verify a webhook of Throughline in Node, with nothing but the standard library.
//
// In your handler: pass the headers and the *raw* body, before any JSON is parsed.
//
//     const message = verify(["whsec_..."], request.headers, rawBody);
//
// Answer 2xx only when the message is stored. A message may come more than once: drop what has a `webhook-id` that you
// have seen. To try it: `node verify.mjs whsec_... < request.json`, where the file holds {"headers": {}, "body": ""}.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const TOLERANCE_S = 5 * 60;

export class Refused extends Error {}

/** Returns the parsed message; throws Refused unless one of the secrets signed it, recently. */
export function verify(secrets, headers, body, nowS = Date.now() / 1000) {
  const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const id = lower["webhook-id"];
  const timestamp = lower["webhook-timestamp"];
  const signatures = lower["webhook-signature"];
  if (!id || !signatures || !/^\d+$/.test(timestamp ?? "")) {
    throw new Refused("a webhook header is missing or unreadable");
  }
  if (Math.abs(nowS - Number(timestamp)) > TOLERANCE_S) {
    throw new Refused("the timestamp is more than 5 minutes away: a replay, or a clock that is wrong");
  }
  for (const secret of secrets) {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
    for (const signature of signatures.split(" ")) {
      const [version, encoded] = signature.split(",");
      const given = Buffer.from(encoded ?? "", "base64");
      // In constant time, so that an answer's speed tells nothing about the signature.
      if (version === "v1" && given.length === expected.length && timingSafeEqual(given, expected)) {
        return JSON.parse(body);
      }
    }
  }
  throw new Refused("no signature fits: another secret, or the body was changed on the way");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const request = JSON.parse(readFileSync(0, "utf8"));
  try {
    verify(process.argv.slice(2), request.headers, Buffer.from(request.body));
    console.log("verified");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    console.log(`refused: ${error.message}`);
    process.exitCode = 1;
  }
}
