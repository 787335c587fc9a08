// Allocates in a function that a stack must name (the last argument, MiB).
'use strict';

const PAGE = 4096;

function growInNode(memory) {
  for (let at = 0; at < memory.length; at += PAGE) memory[at] = 1;
}

// Call the function until it is compiled to machine code. Before, it is data of the interpreter.
const small = new Uint8Array(PAGE);
for (let turn = 0; turn < 30000; turn++) growInNode(small);

const kept = [];
for (let mib = Number(process.argv.at(-1)); mib > 0; mib--) {
  const memory = new Uint8Array(1 << 20);
  growInNode(memory);
  kept.push(memory);
}
console.log('ready', kept.length);
