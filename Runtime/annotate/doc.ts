/** The part of `deno doc --json` (version 2, Deno 2.9) that schemas are made of. */

export interface JSDoc {
  doc?: string;
  tags?: { kind: string; name?: string; doc?: string; value?: string }[];
}

export interface Resolution {
  kind: "local" | "import" | "typeParam";
  specifier?: string;
  name?: string;
}

export interface DocType {
  repr?: string;
  kind: string;
  value?: any;
}

export interface DocProperty {
  name: string;
  optional?: boolean;
  tsType?: DocType;
  jsDoc?: JSDoc;
}

export interface DocParameter {
  kind: "identifier" | "assign" | "rest" | "object" | "array";
  name?: string;
  optional?: boolean;
  tsType?: DocType;
  left?: DocParameter;
  right?: string;
  arg?: DocParameter;
}

export interface DocDeclaration {
  location: { filename: string; line: number; col: number };
  declarationKind: string;
  kind: string;
  jsDoc?: JSDoc;
  def: any;
}

export interface DocSymbol {
  name: string;
  isDefault?: boolean;
  declarations: DocDeclaration[];
}

export interface DocFile {
  imports?: { importedName?: string; originalName?: string; src: string }[];
  symbols: DocSymbol[];
}

export interface Doc {
  version: number;
  nodes: Record<string, DocFile>;
}
