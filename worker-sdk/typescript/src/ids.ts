/** PURE. What names look like, see section 3 of PROTOCOL.md. */

const PREFIX = /^(?!-)[a-z0-9-]{1,24}(?<!-)$/;
const PLUGIN = /^(?!-)[a-z0-9-]{1,64}(?<!-)$/;
const INSTANCE = /^[A-Za-z0-9_-]{1,128}$/;

/** Whether `text` can be the prefix of a fleet. */
export const isPrefix = (text: string): boolean => PREFIX.test(text);

/** Whether `text` can be a plugin's id; `user` is a person's layer of metadata, `coordinator` the coordinator's login. */
export const isPluginId = (text: string): boolean => PLUGIN.test(text) && text !== "user" && text !== "coordinator";

/** Whether `text` can name one running process. */
export const isInstanceId = (text: string): boolean => INSTANCE.test(text);

/** Whether `text` can name a route; the names of the other lanes cannot. */
export const isRouteName = (text: string): boolean => PREFIX.test(text) && text !== "main" && text !== "next";
