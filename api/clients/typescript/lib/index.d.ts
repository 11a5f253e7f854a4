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
export declare const DEFAULT_URL = "http://127.0.0.1:8000";
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
    metadata: {
        currentStep: string | null;
        stepProgress: number | null;
    };
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
export declare class BeatConnectError extends Error {
    readonly status: number;
    readonly code: string;
    readonly details: Record<string, unknown>;
    constructor(status: number, code: string, message: string, details?: Record<string, unknown>);
}
type Query = Record<string, string | number | undefined>;
type Ask = <T>(method: string, path: string, body?: object, query?: Query) => Promise<T>;
export declare class Builds {
    private readonly ask;
    constructor(ask: Ask);
    /** Start a build. What is left out is as the project says. */
    create(build: NewBuild): Promise<Build>;
    /** How a build is now. */
    get(id: string): Promise<Build>;
    /** Builds, newest first. */
    list(filter?: {
        projectId?: string;
        status?: BuildStatus;
        limit?: number;
        offset?: number;
    }): Promise<BuildList>;
    /** What came of a build. */
    artifacts(id: string): Promise<Artifact[]>;
    /** A link to an artifact, good for an hour. */
    download(id: string, artifactId: string): Promise<{
        url: string;
        expiresAt: string;
    }>;
    /** Cancel a build that is not over. */
    cancel(id: string): Promise<{
        id: string;
        status: BuildStatus;
    }>;
    /** How many builds of this month are used. */
    usage(): Promise<Usage>;
}
export declare class Projects {
    private readonly ask;
    constructor(ask: Ask);
    create(project: NewProject): Promise<Project>;
    get(id: string): Promise<Project>;
    list(page?: {
        limit?: number;
        offset?: number;
    }): Promise<Project[]>;
    change(id: string, changes: Partial<NewProject>): Promise<Project>;
}
export declare class Repositories {
    private readonly ask;
    constructor(ask: Ask);
    /** Repositories of the connected account that have the topic beatconnect-plugin, or every one. */
    discover({ all }?: {
        all?: boolean | undefined;
    }): Promise<Repo[]>;
    link(link: {
        projectId: string;
        repoFullName: string;
        branch?: string;
    }): Promise<{
        success: boolean;
        projectId: string;
        sourceRepoUrl: string;
    }>;
    unlink(projectId: string): Promise<{
        success: boolean;
    }>;
    createAndLink(project: {
        repoFullName: string;
        name: string;
        description?: string;
        visibility?: 'private' | 'public';
    }): Promise<{
        projectId: string;
        name: string;
        sourceRepoUrl: string;
    }>;
}
export declare class Github {
    private readonly ask;
    constructor(ask: Ask);
    status(): Promise<GithubStatus>;
    disconnect(): Promise<{
        success: boolean;
        message: string;
    }>;
}
export declare class Activation {
    private readonly ask;
    constructor(ask: Ask);
    activate(on: {
        code: string;
        machineId: string;
    }): Promise<Activated>;
    deactivate(on: {
        code: string;
        machineId: string;
    }): Promise<Omit<Activated, 'remaining'> & {
        message: string;
    }>;
    validate(on: {
        code: string;
        machineId: string;
    }): Promise<Validity>;
    status(code: string): Promise<{
        activations: number;
        maxActivations: number;
        available: number;
        isRevoked: boolean;
    }>;
    generate(key: {
        projectId: string;
        maxActivations?: number;
        notes?: string;
    }): Promise<Pick<ActivationKey, 'code' | 'keyType' | 'maxActivations' | 'createdAt'>>;
    keys(projectId: string): Promise<ActivationKey[]>;
}
export declare class Sdk {
    private readonly ask;
    constructor(ask: Ask);
    status(): Promise<{
        available: boolean;
        version: string;
        documentationUrl: string;
        distributionType: string;
        githubConnected: boolean;
    }>;
    download(): Promise<{
        url: string;
        version: string;
    }>;
}
/** The studio, asked with a token: a session's or an API key. */
export declare class BeatConnectSDK {
    readonly builds: Builds;
    readonly projects: Projects;
    readonly repositories: Repositories;
    readonly github: Github;
    readonly activation: Activation;
    readonly sdk: Sdk;
    constructor(options?: Options);
}
export {};
