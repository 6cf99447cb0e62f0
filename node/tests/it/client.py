"""An MCP client on the official SDK, driven by a test.

Usage: client.py stdio PROGRAM [ARGUMENT...] | client.py http URL TOKEN
Reads steps from stdin, one JSON object per line, and answers each with one JSON object on stdout:
{"list": "tools" | "prompts" | "resources"}, {"call": NAME, "arguments": {...}}, {"prompt": NAME}, {"read": URI}.
"""

import asyncio
import json
import sys

import httpx2
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def step(session, asked):
    if "list" in asked:
        lists = {
            "tools": session.list_tools,
            "prompts": session.list_prompts,
            "resources": session.list_resources,
        }
        return plain(await lists[asked["list"]]())
    if "call" in asked:
        return plain(await session.call_tool(asked["call"], asked.get("arguments", {})))
    if "prompt" in asked:
        return plain(await session.get_prompt(asked["prompt"]))
    return plain(await session.read_resource(asked["read"]))


async def serve(read, write):
    async with ClientSession(read, write) as session:
        print(json.dumps({"initialized": plain(await session.initialize())}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await step(session, json.loads(line))), flush=True)


async def main():
    kind, target, *rest = sys.argv[1:]
    if kind == "stdio":
        async with stdio_client(StdioServerParameters(command=target, args=rest)) as (read, write):
            await serve(read, write)
    else:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {rest[0]}"}, timeout=60) as http:
            async with streamable_http_client(target, http_client=http) as streams:
                await serve(streams[0], streams[1])


asyncio.run(main())
