/** The part of JSON Schema 2020-12 that types are turned into. */
export interface Schema {
  $ref?: string;
  type?: "string" | "number" | "integer" | "boolean" | "null" | "array" | "object";
  description?: string;
  default?: unknown;
  examples?: unknown[];
  deprecated?: boolean;
  const?: unknown;
  enum?: unknown[];
  format?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  items?: Schema | false;
  prefixItems?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  discriminator?: { propertyName: string; mapping?: Record<string, string> };
  /** What the handler gets instead of the JSON value. */
  "x-martlet-type"?: "Date" | "bigint";
  /** Why a part is passed through unchecked. */
  "x-martlet-unchecked"?: string;
}

/** A parameter that gets no value of the client but a part of the request. */
export type SpecialType = "Request" | "Headers" | "WebSocket" | "Context" | "URL";

/** One parameter of a handler. */
export interface ParameterSchema {
  name: string;
  required: boolean;
  schema: Schema;
  special?: SpecialType;
  description?: string;
}

/** What the types of one handler say. */
export interface HandlerSchema {
  name: string;
  /** The file, relative to the app's folder. */
  module: string;
  summary?: string;
  description?: string;
  deprecated?: boolean;
  parameters: ParameterSchema[];
  returns: {
    /** `null` where the type is not declared. */
    schema: Schema | null;
    /** `| null` is part of the type: null means 404. */
    isNullable: boolean;
    isVoid: boolean;
    /** The type is a `Response`: its content is not known. */
    isResponse: boolean;
    /** The type is an async iterable; `schema` is that of one event. */
    isStream: boolean;
  };
}

/** Something that the types do not say, or that cannot be checked. */
export interface SchemaWarning {
  module: string;
  line?: number;
  /** For example `addTodo(todo.when)`. */
  where: string;
  message: string;
}

/** The file that is made at deploy. */
export interface SchemaFile {
  version: 1;
  handlers: HandlerSchema[];
  definitions: Record<string, Schema>;
  warnings: SchemaWarning[];
}
