// Prints the audits of graphql-http that the server at the given URL does not meet.
import { serverAudits } from 'graphql-http';

let met = 0;
const rest = [];
const audits = serverAudits({ url: process.argv[2], fetchFn: fetch });
for (const audit of audits) {
  const result = await audit.fn();
  if (result.status === 'ok') met++;
  else rest.push(`${result.status}  ${audit.name}: ${result.reason}`);
}
for (const line of rest) console.log(line);
console.log(`${met} of ${audits.length} audits met`);
process.exit(rest.length > 0 ? 1 : 0);
