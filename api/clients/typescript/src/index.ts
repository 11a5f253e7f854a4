// SPDX-License-Identifier: MIT
/**
 * A client of the plug-in studio: builds, artifacts, projects, repositories and activation keys.
 *
 *     const sdk = new BeatConnectSDK({ token: '...' });
 *     const build = await sdk.builds.create({ projectId: '...', platforms: ['linux'], formats: ['vst3'] });
 *     const status = await sdk.builds.get(build.id);
 *
 * Names are in camel case here and in snake case on the wire. What the service refuses is a `BeatConnectError`.
 */

/** Where the service is that this client was downloaded from. */
export const DEFAULT_URL = 'http://127.0.0.1:8000';

export type Platform = 'macos' | 'windows' | 'linux';
export type Format = 'vst3' | 'au' | 'standalone' | 'clap' | 'lv2';
export type ReleaseType = 'major' | 'minor' | 'patch' | 'dev' | 'release';
export type BuildStatus = 'pending' | 'queued' | 'running' | 'success' | 'failed' | 'cancelled';
export type Flags = Record<string, boolean | number | string>;

export interface Options {
  token?: string;
  baseUrl?: string;
  /** Another `fetch`, for tests and for places that have none. */
  fetch?: typeof globalThis.fetch;
}

export interface NewBuild {
  projectId: string;
  projectVersionId?: string;
  platforms?: Platform[];
  formats?: Format[];
  releaseType?: ReleaseType;
  flags?: Flags;
  cleanBuild?: boolean;
  ref?: string;
}

export interface Build {
  id: string;
  projectId: string;
  status: BuildStatus;
  versionNumber: string;
  buildNumber: number;
  platforms: Platform[];
  formats: Format[];
  releaseType: ReleaseType;
  flags: Flags;
  cleanBuild: boolean;
  trigger: string;
  ref: string;
  commitSha: string | null;
  metadata: { currentStep: string | null; stepProgress: number | null };
  errorCode: string | null;
  errorMessage: string | null;
  queuedAt: string;
  startedAt: string | null;
  completedAt: string | null;
  githubRunUrl: string | null;
}

export interface BuildList {
  builds: Build[];
  total: number;
  limit: number;
  offset: number;
}

export interface Artifact {
  id: string;
  platform: Platform;
  format: Format;
  fileName: string;
  fileSize: number;
  checksumSha256: string;
  isSigned: boolean;
  downloadCount: number;
  createdAt: string;
  contentType: string;
  validation: string;
  validationDetail: string;
}

export interface Usage {
  period: string;
  used: number;
  limit: number | null;
  remaining: number | null;
  extraBuilds: number;
  resetAt: string;
}

export interface NewProject {
  name: string;
  description?: string;
  visibility?: 'private' | 'public';
  platforms?: Platform[];
  formats?: Format[];
  webhookUrl?: string;
}

export interface Project {
  id: string;
  name: string;
  description: string;
  visibility: 'private' | 'public';
  platforms: Platform[];
  formats: Format[];
  webhookUrl: string | null;
  webhookSecret?: string | null;
  createdAt: string;
  updatedAt: string;
}

export interface ActivationKey {
  code: string;
  keyType: string;
  maxActivations: number;
  currentActivations: number;
  isRevoked: boolean;
  notes: string | null;
  createdAt: string;
}

export interface Activated {
  success: boolean;
  activations: number;
  maxActivations: number;
  remaining: number;
}

export interface Validity {
  valid: boolean;
  reason?: string;
}

export interface Repo {
  name: string;
  fullName: string;
  description: string | null;
  htmlUrl: string;
  topics: string[];
  defaultBranch: string;
}

export interface GithubStatus {
  connected: boolean;
  accountLogin: string | null;
  accountType: 'User' | 'Organization' | null;
  connectedAt: string | null;
}

/** What the service has refused: its HTTP status, its code for machines, its sentence, and the particulars. */
export class BeatConnectError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message || code);
    this.name = 'BeatConnectError';
  }
}

type Query = Record<string, string | number | undefined>;
type Ask = <T>(method: string, path: string, body?: object, query?: Query) => Promise<T>;

/** Objects whose names are somebody's own and stay as they are. */
const OWN_NAMES = new Set(['flags', 'details', 'rules']);

function renamed(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((each) => renamed(each, rename));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== undefined)
      .map(([name, each]) => [rename(name), OWN_NAMES.has(name) ? each : renamed(each, rename)]),
  );
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name: string) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const part = encodeURIComponent;

export class Builds {
  constructor(private readonly ask: Ask) {}

  /** Start a build. What is left out is as the project says. */
  create(build: NewBuild): Promise<Build> {
    return this.ask('POST', '/builds', build);
  }

  /** How a build is now. */
  get(id: string): Promise<Build> {
    return this.ask('GET', `/builds/${part(id)}`);
  }

  /** Builds, newest first. */
  list(
    filter: { projectId?: string; status?: BuildStatus; limit?: number; offset?: number } = {},
  ): Promise<BuildList> {
    const { projectId, status, limit, offset } = filter;
    return this.ask('GET', '/builds', undefined, { project_id: projectId, status, limit, offset });
  }

  /** What came of a build. */
  async artifacts(id: string): Promise<Artifact[]> {
    return (await this.ask<{ artifacts: Artifact[] }>('GET', `/builds/${part(id)}/artifacts`)).artifacts;
  }

  /** A link to an artifact, good for an hour. */
  download(id: string, artifactId: string): Promise<{ url: string; expiresAt: string }> {
    return this.ask('GET', `/builds/${part(id)}/download/${part(artifactId)}`);
  }

  /** Cancel a build that is not over. */
  cancel(id: string): Promise<{ id: string; status: BuildStatus }> {
    return this.ask('POST', `/builds/${part(id)}/cancel`);
  }

  /** How many builds of this month are used. */
  usage(): Promise<Usage> {
    return this.ask('GET', '/builds/usage');
  }
}

export class Projects {
  constructor(private readonly ask: Ask) {}

  create(project: NewProject): Promise<Project> {
    return this.ask('POST', '/projects', project);
  }

  get(id: string): Promise<Project> {
    return this.ask('GET', `/projects/${part(id)}`);
  }

  async list(page: { limit?: number; offset?: number } = {}): Promise<Project[]> {
    return (await this.ask<{ projects: Project[] }>('GET', '/projects', undefined, page)).projects;
  }

  change(id: string, changes: Partial<NewProject>): Promise<Project> {
    return this.ask('PATCH', `/projects/${part(id)}`, changes);
  }
}

export class Repositories {
  constructor(private readonly ask: Ask) {}

  /** Repositories of the connected account that have the topic beatconnect-plugin, or every one. */
  async discover({ all = false } = {}): Promise<Repo[]> {
    const query = all ? { all: 'true' } : {};
    return (await this.ask<{ repos: Repo[] }>('GET', '/plugin-repos/discover', undefined, query)).repos;
  }

  link(link: { projectId: string; repoFullName: string; branch?: string }): Promise<{
    success: boolean;
    projectId: string;
    sourceRepoUrl: string;
  }> {
    return this.ask('POST', '/plugin-repos/link', link);
  }

  unlink(projectId: string): Promise<{ success: boolean }> {
    return this.ask('POST', '/plugin-repos/unlink', { projectId });
  }

  createAndLink(project: {
    repoFullName: string;
    name: string;
    description?: string;
    visibility?: 'private' | 'public';
  }): Promise<{ projectId: string; name: string; sourceRepoUrl: string }> {
    return this.ask('POST', '/plugin-repos/create-and-link', project);
  }
}

export class Github {
  constructor(private readonly ask: Ask) {}

  status(): Promise<GithubStatus> {
    return this.ask('GET', '/github-app-callback/status');
  }

  disconnect(): Promise<{ success: boolean; message: string }> {
    return this.ask('DELETE', '/github-app-callback/disconnect');
  }
}

export class Activation {
  constructor(private readonly ask: Ask) {}

  activate(on: { code: string; machineId: string }): Promise<Activated> {
    return this.ask('POST', '/plugin-activation/activate', on);
  }

  deactivate(on: { code: string; machineId: string }): Promise<Omit<Activated, 'remaining'> & { message: string }> {
    return this.ask('POST', '/plugin-activation/deactivate', on);
  }

  validate(on: { code: string; machineId: string }): Promise<Validity> {
    return this.ask('POST', '/plugin-activation/validate', on);
  }

  status(code: string): Promise<{
    activations: number;
    maxActivations: number;
    available: number;
    isRevoked: boolean;
  }> {
    return this.ask('GET', `/plugin-activation/status/${part(code)}`);
  }

  generate(key: { projectId: string; maxActivations?: number; notes?: string }): Promise<
    Pick<ActivationKey, 'code' | 'keyType' | 'maxActivations' | 'createdAt'>
  > {
    return this.ask('POST', '/plugin-activation/generate', key);
  }

  async keys(projectId: string): Promise<ActivationKey[]> {
    const path = `/plugin-activation/project/${part(projectId)}/keys`;
    return (await this.ask<{ keys: ActivationKey[] }>('GET', path)).keys;
  }
}

export class Sdk {
  constructor(private readonly ask: Ask) {}

  status(): Promise<{
    available: boolean;
    version: string;
    documentationUrl: string;
    distributionType: string;
    githubConnected: boolean;
  }> {
    return this.ask('GET', '/sdk/status');
  }

  download(): Promise<{ url: string; version: string }> {
    return this.ask('GET', '/sdk/download');
  }
}

/** The studio, asked with a token: a session's or an API key. */
export class BeatConnectSDK {
  readonly builds: Builds;
  readonly projects: Projects;
  readonly repositories: Repositories;
  readonly github: Github;
  readonly activation: Activation;
  readonly sdk: Sdk;

  constructor(options: Options = {}) {
    const base = `${(options.baseUrl ?? DEFAULT_URL).replace(/\/+$/, '')}/functions/v1`;
    const send = options.fetch ?? globalThis.fetch.bind(globalThis);
    const ask: Ask = async <T>(method: string, path: string, body?: object, query: Query = {}): Promise<T> => {
      const url = new URL(base + path);
      for (const [name, value] of Object.entries(query)) {
        if (value !== undefined) url.searchParams.set(name, String(value));
      }
      const headers: Record<string, string> = { Accept: 'application/json' };
      if (options.token) headers['Authorization'] = `Bearer ${options.token}`;
      const request: RequestInit = { method, headers };
      if (body !== undefined) {
        headers['Content-Type'] = 'application/json';
        request.body = JSON.stringify(renamed(body, snake));
      }
      const answer = await send(url, request);
      const text = await answer.text();
      if (answer.ok) return (text ? renamed(JSON.parse(text), camel) : undefined) as T;
      let told: { error?: string; message?: string; details?: Record<string, unknown> } = {};
      try {
        told = JSON.parse(text) ?? {};
      } catch {
        // Something between us and the service has answered in its own words.
      }
      throw new BeatConnectError(answer.status, told.error ?? '', told.message ?? answer.statusText, told.details);
    };
    this.builds = new Builds(ask);
    this.projects = new Projects(ask);
    this.repositories = new Repositories(ask);
    this.github = new Github(ask);
    this.activation = new Activation(ask);
    this.sdk = new Sdk(ask);
  }
}
